"""Writes of the official client, unmodified, that may take their time.

Usage: zuora_sdk_async.py BASE_URL CLIENT_ID CLIENT_SECRET

Prints what it saw as one JSON object, on the last line. Nothing here looks at the gateway: whoever started it judges.
"""

import json
import os
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from zuora_sdk.models import CreateAccountContact, CreateAccountRequest, UpdateAccountRequest
from zuora_sdk.zuora_client import ZuoraClient

base_url, client_id, client_secret = sys.argv[1:]
client = ZuoraClient(client_id=client_id, client_secret=client_secret, env=None)
client.set_base_url(base_url)
client.initialize()
accounts = client.accounts_api()
seen = {}


def header(answer, name):
    return {key.lower(): value for key, value in answer.headers.items()}.get(name)


def create(name, prefer=None):
    contact = CreateAccountContact(first_name="Ada", last_name="Gate", country="United States", state="California")
    wish = CreateAccountRequest(name=name, currency="USD", bill_cycle_day=1, bill_to_contact=contact)
    return accounts.create_account_with_http_info(wish, _headers={"Prefer": prefer} if prefer else None)


def outcome(answer):
    """Holds on until it is known."""
    place = base_url + header(answer, "location") + "?wait=20"
    asking = urllib.request.Request(place, headers={"Authorization": client.api_client.default_headers["Authorization"]})
    with urllib.request.urlopen(asking) as told:
        return told.status, json.load(told)


# Who does not ask gets what it always got.
plain = create("Plain")
seen["plain"] = [plain.status_code, plain.data.success, header(plain, "location")]

# Accepted, and told where its outcome will be.
accepted = create("Accepted", "respond-async")
seen["accepted"] = [accepted.status_code, header(accepted, "preference-applied"), "requestId" in json.loads(accepted.raw_data)]
status, told = outcome(accepted)
seen["outcome"] = [status, told["success"]]
seen["name"] = accounts.get_account(told["id"]).basic_info.name

# Held until it is known: the client reads it like any answer.
held = create("Held", "respond-async, wait=20")
seen["held"] = [held.status_code, held.data.success]
seen["held_name"] = accounts.get_account(json.loads(held.raw_data)["id"]).basic_info.name

# Others work alike, and several at once.
updated = accounts.update_account_with_http_info(
    told["id"], UpdateAccountRequest(name="Renamed"), _headers={"Prefer": "respond-async, wait=20"}
)
seen["updated"] = [updated.status_code, updated.data.success]
seen["renamed"] = accounts.get_account(told["id"]).basic_info.name
with ThreadPoolExecutor(max_workers=8) as threads:
    many = list(threads.map(lambda at: create(f"Many {at}", "respond-async, wait=20").data.success, range(24)))
seen["many"] = many.count(True)

print(json.dumps(seen), flush=True)
# The client's timer for tokens sleeps ten minutes, and leaving in the usual way waits for it.
os._exit(0)
