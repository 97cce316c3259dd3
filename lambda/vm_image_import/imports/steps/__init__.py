"""What follows a registration: one list of steps, each done once, whoever runs them."""

from vm_image_import.imports.steps.run import has_failed, have_ended, run

__all__ = ["has_failed", "have_ended", "run"]
