"""Refreshes the teacher where it is due, and measures it every night."""

from components.teacher_trainer.component import TeacherTrainer

__all__ = ["TeacherTrainer"]
