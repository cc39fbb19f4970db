"""What lies where in the artifacts of a trained model. Neither TFX nor Keras is imported here."""

from __future__ import annotations

STATE_FOLDER = "state"
SERVING_FOLDER = "Format-Serving"  # where TFX's own parts look for a model
REFERENCE_FILE = "reference.json"  # what the bundle must answer, see `serving.bundle.reference_answers`
HEALTH_FILE = "health.json"  # figures of the model that need no label, see `trainer.diagnostics`
LOSSES_FILE = "losses.json"  # of the training, see `trainer.training_log`
MEMORY_FILE = "memory.npz"
TAUGHT_BY = "taught_by"  # a property of the model: the versions of the runs its teacher learned in, as JSON
PLACES = "places"  # a property of the model: what places for new items cost, a sentence
