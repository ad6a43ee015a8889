"""A day's work of an app with the official client, unmodified: only its base URL differs.

Usage: zuora_sdk_workflow.py BASE_URL CLIENT_ID CLIENT_SECRET

Prints what it saw as one JSON object, on the last line. Nothing here looks at the gateway: whoever started it judges.
"""

import json
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import date

from zuora_sdk.models import (
    CreateAccountContact,
    CreateAccountRequest,
    CreateOrderRequest,
    CreateOrderSubscription,
    CreateSubscriptionRequest,
    UpdateAccountRequest,
)
from zuora_sdk.zuora_client import ZuoraClient

base_url, client_id, client_secret = sys.argv[1:]


def signed_in(secret):
    client = ZuoraClient(client_id=client_id, client_secret=secret, env=None)
    client.set_base_url(base_url)
    client.initialize()
    return client


def refused():
    """What comes of a wrong secret: the client prints it, three times, and goes on without a token."""
    try:
        signed_in("a wrong secret").accounts_api().get_account("A00000001")
        return "it was let in"
    except Exception as error:
        return {"status": getattr(error, "status", repr(error)), "body": json.loads(error.body)}


# It takes its time to give up.
aside = ThreadPoolExecutor(max_workers=1)
waiting = aside.submit(refused)

client = signed_in(client_secret)
seen = {"has_token": client.get_token_info()["access_token"] is not None}

accounts, orders, subscriptions = client.accounts_api(), client.orders_api(), client.subscriptions_api()


def header(answer, name):
    return {key.lower(): value for key, value in answer.headers.items()}.get(name)


def all_accounts():
    """Follows the cursor of the object query to its end."""
    pages, cursor = [], None
    while True:
        page = client.object_queries_api().query_accounts(page_size=30, cursor=cursor)
        pages.append([account.account_number for account in page.data])
        cursor = page.next_page
        if not cursor:
            return pages


seen["pages"] = [len(page) for page in all_accounts()]

# Create, get, update, get, delete.
contact = CreateAccountContact(first_name="Ada", last_name="Gate", country="United States", state="California")
created = accounts.create_account(
    CreateAccountRequest(name="Æther & Söhne", currency="USD", bill_cycle_day=1, bill_to_contact=contact)
)
key = created.account_number
seen["created"] = {"success": created.success, "number": key}
seen["name"] = accounts.get_account(key).basic_info.name
seen["updated"] = accounts.update_account(key, UpdateAccountRequest(name="Renamed")).success
seen["renamed"] = accounts.get_account(key).basic_info.name

# What belongs to an account: a subscription, and more orders than fit on one page.
today = date.today()
subscription = subscriptions.create_subscription(
    CreateSubscriptionRequest(
        account_key=key,
        term_type="EVERGREEN",
        renewal_term=0,
        contract_effective_date=today,
        subscribe_to_rate_plans=[],
    )
)
seen["subscription"] = subscription.success
found = subscriptions.get_subscription_by_key(subscription.subscription_number)
seen["subscription_status"] = found.status

order = CreateOrderRequest(
    order_date=today, existing_account_number=key, subscriptions=[CreateOrderSubscription(order_actions=[])]
)
# Several threads on one client, as its users do.
with ThreadPoolExecutor(max_workers=8) as threads:
    placed = [one.order_number for one in threads.map(lambda _: orders.create_order(order), range(25))]
seen["orders"] = len(set(placed))
listed, page = [], 1
while True:
    answer = orders.get_orders(page=page, page_size=10)
    listed.append([one.order_number for one in answer.orders])
    if not answer.next_page:
        break
    page += 1
seen["order_pages"] = [len(one) for one in listed]
seen["all_orders_listed"] = sorted(sum(listed, [])) == sorted(placed)
seen["order_deleted"] = orders.delete_order(placed[0]).success

# The status and the headers of an answer, as its users log them.
answer = accounts.get_account_with_http_info(key)
seen["status"] = answer.status_code
seen["track_id"] = header(answer, "zuora-track-id")
seen["request_id"] = header(answer, "zuora-request-id")
own = accounts.get_account_with_http_info(key, zuora_track_id="app-my-own-id")
seen["own_track_id"] = header(own, "zuora-track-id")

# gzip only when asked for; the client undoes it by itself.
client.set_accept_encoding("gzip")
zipped = client.object_queries_api().query_accounts_with_http_info(page_size=30)
seen["gzip"] = header(zipped, "content-encoding")
seen["gzip_rows"] = len(zipped.data.data)

# Files, both ways.
with tempfile.NamedTemporaryFile("w", suffix=".csv") as usage:
    usage.write("ACCOUNT_ID,UOM,QTY\n" * 5000)
    usage.flush()
    seen["uploaded"] = client.usage_api().upload_usage_file(file=usage.name).success
seen["downloaded"] = len(client.files_api().get_files("size-300000"))

seen["deleted"] = accounts.delete_account(key).success
try:
    accounts.get_account(key)
    seen["gone"] = "it is still there"
except Exception as error:
    seen["gone"] = getattr(error, "status", repr(error))

seen["refused"] = waiting.result()
print(json.dumps(seen), flush=True)
# The client's timer for tokens sleeps ten minutes, and leaving in the usual way waits for it.
os._exit(0)
