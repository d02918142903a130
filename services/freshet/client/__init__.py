"""The client of a shop: publish events, and ask for recommendations in which one's own events already count.

    from freshet.client import Freshet

    with Freshet() as freshet:
        freshet.click("ann", "boot-1")
        for product in freshet.recommend("ann").products:
            print(product.product_id, product.reason)

`AsyncFreshet` is the same for asyncio. Messages are those of freshet.v1 (docs/api.md).
"""

from freshet.client.aio import AsyncFreshet
from freshet.client.blocking import Freshet
from freshet.client.calls import Published, Streamed
from freshet.client.failures import Refused, Unavailable
from freshet.errors import InvalidInput, NotFound

__all__ = ["AsyncFreshet", "Freshet", "InvalidInput", "NotFound", "Published", "Refused", "Streamed", "Unavailable"]
