// A day's work of a SOAP app with the npm package `soap`, unmodified: only its endpoint differs.
//
// Usage: soap_npm_workflow.js BASE_URL CLIENT_ID CLIENT_SECRET WSDL
//
// Prints what it saw as one JSON object. Nothing here looks at the gateway: whoever started it judges.
'use strict';

const soap = require('soap');

const [baseUrl, username, secret, wsdl] = process.argv.slice(2);
const API = 'http://api.zuora.com/';

const failure = (call) => call.then(
  () => 'it succeeded',
  ({ root }) => ({ code: root.Envelope.Body.Fault.faultcode, message: root.Envelope.Body.Fault.faultstring }),
);

// A client whose calls carry this session, and so many rows on a page.
async function withSession(endpoint, session, batchSize) {
  const client = await soap.createClientAsync(wsdl, { endpoint });
  client.addSoapHeader({ SessionHeader: { session } }, '', 'zns', API);
  if (batchSize) client.addSoapHeader({ QueryOptions: { batchSize } }, '', 'zns', API);
  return client;
}

const account = (fields) => ({
  zObjects: {
    attributes: { 'xsi:type': 'ons:Account', 'xmlns:ons': 'http://object.api.zuora.com/' },
    ...Object.fromEntries(Object.entries(fields).map(([name, value]) => [`ons:${name}`, value])),
  },
});

(async () => {
  // Log in where the gateway is; everything after that goes to the address that the login was answered with.
  const front = await soap.createClientAsync(wsdl, { endpoint: `${baseUrl}/apps/services/a/91.0` });
  const [{ result: login }] = await front.loginAsync({ username, password: secret });
  const seen = { leadsHere: login.ServerUrl === `${baseUrl}/apps/services/a/91.0` };
  const client = await withSession(login.ServerUrl, login.Session);
  const reader = await withSession(login.ServerUrl, login.Session, 40);

  seen.user = Boolean((await client.getUserInfoAsync({}))[0].result.UserId);

  let [{ result: page }] = await reader.queryAsync({ queryString: 'select Id, AccountNumber, Name from Account' });
  seen.pages = [page.records.length];
  while (!page.done) {
    [{ result: page }] = await reader.queryMoreAsync({ queryLocator: page.queryLocator });
    seen.pages.push(page.records.length);
  }

  const [{ result: [created] }] = await client.createAsync(account({
    BillCycleDay: 1, Currency: 'USD', Name: 'Æther & Söhne <GmbH>', PaymentTerm: 'Net 30', Status: 'Draft',
  }));
  seen.created = created.Success;
  const name = async () => {
    const queryString = `select Id, Name from Account where Id = '${created.Id}'`;
    const [{ result }] = await client.queryAsync({ queryString });
    return (result.records || []).filter(Boolean).map(({ Name }) => Name);
  };
  seen.name = await name();
  const [{ result: [updated] }] = await client.updateAsync(account({ Id: created.Id, Name: 'Renamed' }));
  seen.updated = updated.Success;
  seen.renamed = await name();
  const [{ result: [deleted] }] = await client.deleteAsync({ type: 'Account', ids: [created.Id] });
  seen.deleted = deleted.success;
  seen.gone = await name();

  // Many at once.
  const all = await Promise.all(Array.from({ length: 60 }, (_, i) => client.queryAsync({
    queryString: `select Id, AccountNumber from Account where AccountNumber = 'A${String(i + 1).padStart(8, '0')}'`,
  })));
  seen.together = new Set(all.map(([{ result }]) => result.records[0].AccountNumber)).size;

  seen.malformed = await failure(client.queryAsync({ queryString: 'select from nothing at all' }));
  seen.refused = await failure(front.loginAsync({ username, password: 'a wrong secret' }));
  const stranger = await withSession(login.ServerUrl, 'nobody');
  seen.unknown = await failure(stranger.queryAsync({ queryString: 'select Id from Account' }));
  console.log(JSON.stringify(seen));
})().catch((error) => { console.error(error); process.exit(1); });
