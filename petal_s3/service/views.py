"""How objects and uploads read as JSON, in every door alike."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timezone
from typing import Any
from urllib.parse import quote, urlsplit

from petal_s3.core.kinds import LOG_SUFFIXES
from petal_s3.core.settings import Settings
from petal_s3.errors import S3UploadError
from petal_s3.outbox.rows import Row
from petal_s3.s3.responses import ObjectInfo, Page, Presigned

Json = dict[str, Any]


def url_of(settings: Settings, key: str) -> str:
    """Where the object lies; without a signature it opens nothing. Holds no password."""
    path = quote(key, safe="/-_.~")
    if settings.endpoint_url:
        parts = urlsplit(settings.endpoint_url)
        where = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme}://{where}{parts.path.rstrip('/')}/{settings.bucket_name}/{path}"
    return f"https://{settings.bucket_name}.s3.amazonaws.com/{path}"


def uploaded(settings: Settings, row: Row) -> Json:
    """A settled row as the answer to an upload; raises :class:`S3UploadError` when not proven."""
    if row.state != "verified":
        raise S3UploadError(row.reason, code=row.code or row.state, status=409)
    return {
        "success": True,
        "s3_key": row.key,
        "file_url": url_of(settings, row.key),
        "file_size": row.size,
        "content_type": row.media_type,
        "id": row.id,
    }


def listing(settings: Settings, prefix: str, page: Page) -> Json:
    """A page of objects below the whole ``prefix``."""
    files = [file(settings, item) for item in page.objects]
    return {
        "success": True,
        "files": files,
        "total_count": len(files),
        "is_truncated": page.next_token is not None,
        "prefix": prefix,
        "next_token": page.next_token,
    }


def file(settings: Settings, item: ObjectInfo) -> Json:
    """One object of a listing."""
    return {
        "key": item.key,
        "size": item.size,
        "last_modified": _moment(item),
        "url": url_of(settings, item.key),
        "storage_class": item.storage_class,
    }


def head(info: ObjectInfo) -> Json:
    """What S3 knows of an object."""
    return {
        "success": True,
        "s3_key": info.key,
        "metadata": dict(info.metadata),
        "content_length": info.size,
        "content_type": info.content_type,
        "last_modified": _moment(info),
        "etag": info.etag,
        "storage_class": info.storage_class,
    }


def stored(info: ObjectInfo) -> Json:
    """One object, for programs that list."""
    return {
        "key": info.key,
        "size": info.size,
        "last_modified": _moment(info),
        "etag": info.etag,
        "storage_class": info.storage_class,
    }


def presigned(key: str, made: Presigned, expires_at: str) -> Json:
    """A URL, and how long it really lives."""
    return {
        "success": True,
        "s3_key": key,
        "url": made.url,
        "method": made.method,
        "headers": dict(made.headers),
        "expires_in": made.expires_s,
        "expires_at": expires_at,
    }


def moved(source: str, target: str) -> Json:
    """A finished rename."""
    return {
        "success": True,
        "source_key": source,
        "dest_key": target,
        "message": "File moved",
    }


def deleted(key: str) -> Json:
    """A finished deletion."""
    return {"success": True, "s3_key": key, "message": "File deleted"}


def info(settings: Settings, machine_id: str, version: str, status: Mapping[str, Any]) -> Json:
    """Configuration and state; no secret, and no URL that may hold one."""
    endpoint = settings.endpoint_url
    return {
        "success": True,
        "version": version,
        "machine_id": machine_id,
        "bucket_name": settings.bucket_name,
        "region": settings.region,
        "endpoint": urlsplit(endpoint).netloc.rpartition("@")[2] if endpoint else None,
        "upload_prefix": settings.upload_prefix,
        "allowed_extensions": sorted(LOG_SUFFIXES),
        "max_file_size": int(settings.max_file_size),
        "part_size": int(settings.part_size),
        "concurrency": settings.concurrency,
        "sse": settings.sse,
        "request_timeout": settings.request_timeout,
        "upload_while_flying": settings.upload_while_flying,
        "has_token_service": settings.session_token_url is not None,
        "link": status["link"],
        "credentials": status["credentials"],
        "flight_state": status["flight_state"],
        "counts": status["counts"],
        "reason": status["reason"],
        "capabilities": status["capabilities"],
    }


def _moment(info: ObjectInfo) -> str | None:
    moment = info.last_modified
    return moment.astimezone(timezone.utc).isoformat() if moment else None
