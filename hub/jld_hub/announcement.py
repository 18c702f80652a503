"""A lab's word that it listens, which spares the hub from asking over and over.

The lab POSTs to ANNOUNCEMENT_PATH with its own API token as soon as its socket accepts connections.
"""

from jupyterhub import orm
from jupyterhub.apihandlers.base import APIHandler
from tornado.web import HTTPError

ANNOUNCEMENT_PATH = "api/announcement"
"""Below the hub's prefix."""


class AnnouncementHandler(APIHandler):  # type: ignore[misc]
    """Takes the announcement of the one lab whose token it carries."""

    async def post(self) -> None:
        """Answer 204, or 403 for any token but a lab's own."""
        token = self.get_token()
        if isinstance(token, orm.APIToken) and token.user is not None:
            user = self.users[token.user]
            for spawner in user.spawners.values():
                if spawner.api_token and token.match(spawner.api_token):
                    spawner.announced.set()
                    self.set_status(204)
                    return
        raise HTTPError(403, "only a lab may announce itself, with its own token")
