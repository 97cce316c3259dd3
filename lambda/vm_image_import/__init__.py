"""Registers imported VMs as base images in EC2 Image Builder."""
