"""What follows a registration: one list of steps, each done once, whoever runs them."""

from vm_image_import.imports.steps.run import follow_up, have_ended, run

__all__ = ["follow_up", "have_ended", "run"]
