"""Refreshes the teacher where it is due, and measures it every night."""

from __future__ import annotations

from typing import TYPE_CHECKING

from components.on_demand import on_demand

if TYPE_CHECKING:
    from components.teacher_trainer.component import TeacherTrainer

__all__ = ["TeacherTrainer"]

__getattr__ = on_demand(__name__, TeacherTrainer="component")
