"""LocalStack 4.14.0 listens on every interface whatever GATEWAY_LISTEN says: this makes it listen where it was told.

Import it before `localstack.runtime.main.main` runs.
"""
from functools import partial

from localstack import config
from twisted.internet import endpoints

endpoints.TCP4ServerEndpoint = partial(endpoints.TCP4ServerEndpoint, interface=config.GATEWAY_LISTEN[0].host)
