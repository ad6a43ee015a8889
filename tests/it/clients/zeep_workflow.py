"""A day's work of a SOAP app with zeep, unmodified: only the address that it logs in at differs.

Usage: zeep_workflow.py BASE_URL CLIENT_ID CLIENT_SECRET WSDL

Prints what it saw as one JSON object. Nothing here looks at the gateway: whoever started it judges.
"""

import json
import sys

import requests
import zeep
from zeep.transports import Transport

base_url, client_id, client_secret, wsdl = sys.argv[1:]
BINDING = "{http://api.zuora.com/}SoapBinding"
client = zeep.Client(wsdl)
zns = client.type_factory("http://api.zuora.com/")
ons = client.type_factory("http://object.api.zuora.com/")


def at(address):
    return client.create_service(BINDING, address)


def failure(call):
    try:
        call()
        return "it succeeded"
    except zeep.exceptions.Fault as fault:
        return {"code": fault.code, "message": fault.message}


# Log in where the gateway is; everything after that goes to the address that the login was answered with.
front = at(f"{base_url}/apps/services/a/91.0")
login = front.login(username=client_id, password=client_secret)
seen = {"leads_here": login.ServerUrl == f"{base_url}/apps/services/a/91.0"}
service = at(login.ServerUrl)
session = zns.SessionHeader(session=login.Session)
SessionHeader = client.get_element("{http://api.zuora.com/}SessionHeader")
header = [SessionHeader(session=login.Session)]

seen["user"] = service.getUserInfo(_soapheaders=header).UserId is not None

# A query to its end.
QueryOptions = client.get_element("{http://api.zuora.com/}QueryOptions")
page = service.query("select Id, AccountNumber, Name from Account", _soapheaders=header + [QueryOptions(batchSize=40)])
seen["pages"] = [len(page.records)]
while not page.done:
    page = service.queryMore(page.queryLocator, _soapheaders=header + [QueryOptions(batchSize=40)])
    seen["pages"].append(len(page.records))

# Create, read, update, delete.
Account = client.get_type("{http://object.api.zuora.com/}Account")
account = Account(Name="Æther & Söhne <GmbH>", Currency="USD", BillCycleDay=1, Batch="Batch1", Status="Draft", PaymentTerm="Net 30")
created = service.create(zObjects=[account], _soapheaders=header)[0]
seen["created"] = created.Success


def name():
    found = service.query(f"select Id, Name from Account where Id = '{created.Id}'", _soapheaders=header)
    return [record.Name for record in found.records if record is not None]


seen["name"] = name()
seen["updated"] = service.update(zObjects=[Account(Id=created.Id, Name="Renamed")], _soapheaders=header)[0].Success
seen["renamed"] = name()
seen["deleted"] = service.delete(type="Account", ids=[created.Id], _soapheaders=header)[0].success
seen["gone"] = name()

# What goes wrong is told as a fault.
seen["malformed"] = failure(lambda: service.query("select from nothing at all", _soapheaders=header))
seen["refused"] = failure(lambda: front.login(username=client_id, password="a wrong secret"))
seen["unknown"] = failure(lambda: service.query("select Id from Account", _soapheaders=[SessionHeader(session="nobody")]))

# The description can be had through the gateway too, and then leads back to it by itself.
asking = requests.Session()
asking.auth = (client_id, client_secret)
described = zeep.Client(f"{base_url}/apps/servlet/GenerateWsdl?version=91.0", transport=Transport(session=asking))
seen["described"] = described.service._binding_options["address"].startswith(f"{base_url}/apps/services/a/")
seen["by_description"] = described.service.query("select Id from Account", _soapheaders=header).size > 0

print(json.dumps(seen))
