"""Many instances of the official client that start at the same moment, as after a deployment.

Usage: zuora_sdk_fleet.py BASE_URL CLIENT_ID CLIENT_SECRET PROCESSES INSTANCES

Each process has so many instances, every one with its own connections. Prints, as one JSON object, how many there were,
how many of them signed in, and how many read their account.
"""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context

from zuora_sdk.zuora_client import ZuoraClient

base_url, client_id, client_secret = sys.argv[1:4]
processes, instances = map(int, sys.argv[4:])
# To load the client takes seconds of processor time, so it is loaded once, and the processes are copies.
context = get_context("fork")
together = context.Barrier(processes * instances)


def instance(number):
    client = ZuoraClient(client_id=client_id, client_secret=client_secret, env=None)
    client.set_base_url(base_url)
    together.wait()
    client.initialize()
    key = f"A{number % 100 + 1:08}"
    account = client.accounts_api().get_account(key)
    return client.get_token_info()["access_token"] is not None, account.basic_info.account_number == key


def process(first):
    with ThreadPoolExecutor(max_workers=instances) as threads:
        return list(threads.map(instance, range(first, first + instances)))


with context.Pool(processes) as pool:
    seen = sum(pool.map(process, range(0, processes * instances, instances), chunksize=1), [])
print(json.dumps({"instances": len(seen), "signed_in": sum(a for a, _ in seen), "read": sum(b for _, b in seen)}))
