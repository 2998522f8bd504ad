"""What one writes in an afternoon instead: archives recordings with requests and boto3.

Reads recording IDs from stdin and the rest from the environment; THREADS at a time, no queue, no
database, no retries, nothing proven. One of the tools that compare.py measures.
"""

import hashlib
import json
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import boto3
import requests
from botocore.config import Config

API, BUCKET, THREADS = os.environ["API"], os.environ["BUCKET"], int(os.environ["THREADS"])
AUTH = (os.environ["SIGNALWIRE_PROJECT_ID"], os.environ["SIGNALWIRE_API_TOKEN"])
SMALL = 8 * 1024 * 1024
s3 = boto3.client("s3", config=Config(max_pool_connections=10 + THREADS))
local = threading.local()


class Hashing:
    def __init__(self, raw):
        self.raw, self.sha256 = raw, hashlib.sha256()

    def read(self, size=-1):
        data = self.raw.read(size)
        self.sha256.update(data)
        return data


def archive(recording_id):
    http = local.__dict__.setdefault("http", requests.Session())
    answer = http.get(f"{API}/api/video/room_recordings/{recording_id}", auth=AUTH, timeout=30)
    answer.raise_for_status()
    metadata = answer.json()
    day = "year={}/month={}/day={}".format(*metadata["created_at"][:10].split("-"))
    key = f"{os.environ['PREFIX']}/{day}/{recording_id}.mp4"
    with http.get(metadata.pop("uri"), stream=True, timeout=30) as media:
        media.raise_for_status()
        body = Hashing(media.raw)
        if metadata["size_in_bytes"] > SMALL:
            s3.upload_fileobj(body, BUCKET, key)
        else:
            s3.put_object(Bucket=BUCKET, Key=key, Body=body.read())
    manifest = {"sha256": body.sha256.hexdigest(), "metadata": metadata}
    s3.put_object(Bucket=BUCKET, Key=f"{key}.manifest.json", Body=json.dumps(manifest).encode())
    return body.sha256.hexdigest()


with ThreadPoolExecutor(THREADS) as pool:
    for digest in pool.map(archive, sys.stdin.read().split()):
        print(digest)
