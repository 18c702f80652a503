"""What an operator's probes ask: whether the hub turns, whether it can take work, and its figures."""

from jupyterhub.handlers.metrics import MetricsHandler
from jupyterhub.handlers.pages import HealthCheckHandler
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError


class HealthHandler(HealthCheckHandler):  # type: ignore[misc]
    """Answers as long as the loop turns; of JupyterHub's own kind, whose successes are not logged."""

    def prepare(self) -> None:
        """Leave out what a request of a member needs; a probe is nobody's."""

    def get(self) -> None:
        """Answer 200."""
        self.finish({"status": "ok"})


class ReadyHandler(HealthHandler):
    """Answers whether the database does, without which the hub can do nothing."""

    def get(self) -> None:
        """Answer 200, or 503 with the reason; what a database says may hold its address, so its kind is all."""
        try:
            self.db.execute(text("SELECT 1"))
        except SQLAlchemyError as error:
            self.db.rollback()
            self.set_status(503)
            self.finish({"error": "not-ready", "message": f"the database does not answer ({type(error).__name__})"})
        else:
            self.finish({"status": "ok"})


HANDLERS = [("/healthz", HealthHandler), ("/readyz", ReadyHandler), ("/metrics", MetricsHandler)]
"""On the hub's own port; as browsers reach them through the proxy too, `/metrics` wants a token (`read:metrics`)."""
