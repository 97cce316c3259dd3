"""The metrics that the function emits."""

from typing import Final, TypedDict, Unpack

from aws_cdk import Duration, Stack
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct, IConstruct

NAMESPACE: Final = "VmImageImport"


class MetricOptions(TypedDict, total=False):
    """What every metric of the CDK takes. Each has the CDK's default, and `statistic` is `Sum`."""

    account: str
    color: str
    id: str
    label: str
    period: Duration
    region: str
    statistic: str
    unit: cloudwatch.Unit
    visible: bool


def service_of(scope: IConstruct) -> str:
    """Return the value of the metrics' only dimension, `service`: one stack's sweeps must not hide another's."""
    return Stack.of(scope).stack_name


def metric(scope: IConstruct, name: str, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
    """Return a metric of the stack's function by its name in CloudWatch."""
    options.setdefault("statistic", "Sum")
    dimensions = {"service": service_of(scope)}
    return cloudwatch.Metric(namespace=NAMESPACE, metric_name=name, dimensions_map=dimensions, **options)


class Metrics(Construct):
    """The metrics as methods, named as the CDK names those of its constructs."""

    def metric_images_registered(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Count the imports that were registered with Image Builder."""
        return metric(self, "ImagesRegistered", **options)

    def metric_images_available(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Count the images that became available."""
        return metric(self, "ImagesAvailable", **options)

    def metric_images_failed(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Count the images that Image Builder could not make."""
        return metric(self, "ImagesFailed", **options)

    def metric_images_not_found(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Count the images that exist and could not be found."""
        return metric(self, "ImagesNotFound", **options)

    def metric_imports_failed(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Count the imports that failed in EC2."""
        return metric(self, "ImportsFailed", **options)

    def metric_imports_hanging(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Count the imports that have been active for more than 12 hours."""
        return metric(self, "ImportsHanging", **options)

    def metric_imports_rejected(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Count the imports that cannot be registered as they are stated."""
        return metric(self, "ImportsRejected", **options)

    def metric_follow_ups_failed(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Count the steps after a registration, and the passes of retention, that failed."""
        return metric(self, "FollowUpsFailed", **options)

    def metric_amis_tagged(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Count the AMIs that got their tags, with `tag_amis`."""
        return metric(self, "AmisTagged", **options)

    def metric_parameters_written(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Count the parameters that got a new AMI, with `parameter_prefix`."""
        return metric(self, "ParametersWritten", **options)

    def metric_sweeps_completed(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Count the sweeps that processed all import tasks."""
        return metric(self, "SweepsCompleted", **options)

    def metric_sweep_problems(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Count the problems of sweeps: tasks, pages of them, or passes of retention, that were not processed."""
        return metric(self, "SweepProblems", **options)

    def metric_event_age(self, **options: Unpack[MetricOptions]) -> cloudwatch.Metric:
        """Measure the seconds from the event of an AMI to the registration of its image; `statistic` is `Average`."""
        options.setdefault("statistic", "Average")
        return metric(self, "EventAge", **options)
