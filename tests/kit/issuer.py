"""An OpenID Connect issuer on this machine: real HTTP, real keys, and what it was asked."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

AUDIENCE = "atelier"
ALGORITHMS = {
    "RS256": jwt.algorithms.RSAAlgorithm,
    "ES256": jwt.algorithms.ECAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
}


class Key:
    """A private key of an issuer, and its public half as a JWK."""

    def __init__(self, key_id: str, algorithm: str = "ES256", bits: int = 2048) -> None:
        self.id, self.algorithm = key_id, algorithm
        self.private: Any = {
            "RS256": lambda: rsa.generate_private_key(65537, bits),
            "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "EdDSA": ed25519.Ed25519PrivateKey.generate,
        }[algorithm]()

    @property
    def public(self) -> dict[str, Any]:
        found = ALGORITHMS[self.algorithm].to_jwk(self.private.public_key(), as_dict=True)
        return {**found, "kid": self.id, "alg": self.algorithm, "use": "sig"}


def key_set(*keys: Key) -> dict[str, Any]:
    return {"keys": [key.public for key in keys]}


def token(key: Key, issuer: str, headers: dict[str, Any] | None = None, **claims: Any) -> str:
    """A token that is good but for what `claims` say; one of None is left out."""
    now = int(time.time())
    every = {"iss": issuer, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 300, **claims}
    said = {name: value for name, value in every.items() if value is not None}
    return jwt.encode(said, key.private, key.algorithm, {"kid": key.id, **(headers or {})})


class LocalIssuer:
    """Serves its discovery document and whatever keys it has now."""

    def __init__(self, *keys: Key) -> None:
        self.keys, self.asked, self.calls, self.status, self.body = list(keys), 0, 0, 200, b""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = issuer.answer(self.path)
                self.send_response(issuer.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, path: str) -> bytes:
        self.calls += 1
        if path == "/.well-known/openid-configuration":
            return json.dumps({"issuer": self.url, "jwks_uri": f"{self.url}/keys"}).encode()
        self.asked += 1
        return self.body or json.dumps(key_set(*self.keys)).encode()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Clock:
    """Seconds that go by only when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now
