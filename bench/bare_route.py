"""What reads over HTTP are measured against: FastAPI and uvicorn, and nothing of ours."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response

from bench.rounds import GC_THRESHOLDS


def bare(body: bytes) -> FastAPI:
    """An application with one route, which returns these bytes."""
    app = FastAPI(openapi_url=None)

    @app.get("/v1/work-items/{subject}/decision")
    async def decision(subject: str) -> Response:  # noqa: ARG001
        return Response(body, media_type="application/json")

    return app


def main() -> None:
    gc.set_threshold(*GC_THRESHOLDS)
    port, path = int(sys.argv[1]), Path(sys.argv[2])
    uvicorn.run(bare(path.read_bytes()), port=port, access_log=False, server_header=False, log_level="warning")
