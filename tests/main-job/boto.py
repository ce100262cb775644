"""One Pinpoint call through boto3: `boto.py <operation> <parameters as JSON>`; prints the answer as JSON."""
import json
import os
import sys

import boto3

client = boto3.client("pinpoint", endpoint_url=os.environ["ENDPOINT"])
answer = getattr(client, sys.argv[1])(**json.loads(sys.argv[2]))
answer.pop("ResponseMetadata", None)
print(json.dumps(answer))
