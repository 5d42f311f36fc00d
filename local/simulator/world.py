"""The world of one simulator process: each provider's state, on one engine."""

from .anthropic_batches import Anthropic
from .engine import Engine
from .gcs_store import Gcs
from .openai_batches import OpenAI
from .vertex_jobs import Vertex


class World:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._fresh()

    def _fresh(self) -> None:
        self.openai = OpenAI(self.engine)
        self.anthropic = Anthropic(self.engine)
        self.gcs = Gcs(self.engine)
        self.vertex = Vertex(self.engine, self.gcs)

    def reset(self) -> None:
        """Forgets everything but the settings given at the start."""
        self.engine.reset()
        self._fresh()
