// A day's work of an app with a client generated from Zuora's OpenAPI document: only its server differs.
//
// Usage: swagger_workflow.js BASE_URL CLIENT_ID CLIENT_SECRET DOCUMENT
//
// Prints what it saw as one JSON object. Nothing here looks at the gateway: whoever started it judges.
'use strict';

const fs = require('fs');
const Swagger = require('swagger-client');

const [baseUrl, clientId, clientSecret, document] = process.argv.slice(2);

async function signedIn(secret) {
  const spec = JSON.parse(fs.readFileSync(document));
  spec.servers = [{ url: baseUrl }];
  const client = await Swagger({ spec });
  const answer = await client.apis.OAuth.createToken(
    {},
    { requestBody: { client_id: clientId, client_secret: secret, grant_type: 'client_credentials' } },
  );
  client.requestInterceptor = (request) => {
    request.headers.Authorization = `Bearer ${answer.body.access_token}`;
    return request;
  };
  return { client, token: answer.body };
}

// What a call that fails is told.
const failure = (call) => call.then(
  () => 'it succeeded',
  ({ response }) => ({ status: response.status, body: response.body, text: response.text }),
);

(async () => {
  const { client, token } = await signedIn(clientSecret);
  const { Accounts, Subscriptions, Catalog, Usage } = client.apis;
  const seen = { token: { type: token.token_type, lives: token.expires_in > 0 } };

  // Create, get, update, delete.
  const billToContact = { firstName: 'Ada', lastName: 'Gate', country: 'United States', state: 'California' };
  const created = await Accounts.POST_Account(
    {},
    { requestBody: { name: 'Æther & Söhne', currency: 'USD', billCycleDay: 1, billToContact, autoPay: false } },
  );
  const key = created.body.accountNumber;
  seen.created = created.body.success;
  seen.trackId = created.headers['zuora-track-id'];
  seen.name = (await Accounts.GET_Account({ 'account-key': key })).body.basicInfo.name;
  seen.updated = (await Accounts.PUT_Account({ 'account-key': key }, { requestBody: { name: 'Renamed' } })).body.success;
  seen.renamed = (await Accounts.GET_Account({ 'account-key': key })).body.basicInfo.name;
  seen.ownTrackId = (
    await Accounts.GET_Account({ 'account-key': key, 'Zuora-Track-Id': 'app-my-own-id' })
  ).headers['zuora-track-id'];

  // A list to its end, by the links in it.
  seen.pages = [];
  let page = (await Catalog.GET_Catalog({ pageSize: 25 })).body;
  seen.linksLeadHere = true;
  for (;;) {
    seen.pages.push(page.products.length);
    if (!page.nextPage) break;
    seen.linksLeadHere &&= page.nextPage.startsWith(`${baseUrl}/`);
    page = (await client.http({ url: page.nextPage, headers: { Authorization: `Bearer ${token.access_token}` } })).body;
  }

  // Many at once.
  const all = await Promise.all(
    Array.from({ length: 60 }, (_, i) => Subscriptions.GET_SubscriptionsByKey({ 'subscription-key': `A-S${String(i + 1).padStart(8, '0')}` })),
  );
  seen.subscriptions = new Set(all.map(({ body }) => body.subscriptionNumber)).size;

  // A file goes up, as a form.
  const file = new File(['ACCOUNT_ID,UOM,QTY\n'.repeat(5000)], 'usage.csv', { type: 'text/csv' });
  seen.uploaded = (await Usage.POST_Usage({}, { requestBody: { file } })).body.success;

  seen.deleted = (await Accounts.Object_DELETEAccount({ id: created.body.accountId })).body.success;
  // Without a `Zuora-Version`, of which the document knows nothing here, a failure comes as HTTP 200.
  seen.gone = (await Accounts.GET_Account({ 'account-key': key })).body.success;
  seen.refused = await failure(signedIn('a wrong secret'));
  client.requestInterceptor = (request) => {
    request.headers.Authorization = 'Bearer nobody';
    return request;
  };
  seen.unknown = await failure(Accounts.GET_Account({ 'account-key': key }));
  console.log(JSON.stringify(seen));
})();
