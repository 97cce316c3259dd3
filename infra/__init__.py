"""The AWS resources, as CDK constructs. Other CDK apps install it as `vm_image_import_cdk`: docs/embedding.md."""
