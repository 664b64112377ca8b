"""Client of a modbatt bridge: transactions built and signed offline, every route, receipts verified offline."""

from .client import Client, Malformed, Refusal, Unreachable
from .keys import AccountKey
from .session import Credential
from .transactions import Body, Envelope, FormError, Signed, SignedTransaction, sign

__all__ = [
    "AccountKey",
    "Body",
    "Client",
    "Credential",
    "Envelope",
    "FormError",
    "Malformed",
    "Refusal",
    "Signed",
    "SignedTransaction",
    "Unreachable",
    "sign",
]
