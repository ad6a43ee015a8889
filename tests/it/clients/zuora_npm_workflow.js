// A day's work of an app with the npm package `zuora`, unmodified: only its url differs.
//
// Usage: zuora_npm_workflow.js BASE_URL CLIENT_ID CLIENT_SECRET
//
// Prints what it saw as one JSON object. Nothing here looks at the gateway: whoever started it judges.
'use strict';

const { promisify } = require('util');
const zuora = require('zuora');

const [url, user, password] = process.argv.slice(2);

// The package's own methods, as promises.
function promising(client) {
  const call = (group, name) => promisify(client[group][name].bind(client[group]));
  return {
    createAccount: call('account', 'create'),
    account: call('account', 'get'),
    summary: call('account', 'summary'),
    updateAccount: call('account', 'update'),
    products: call('catalog', 'get'),
    subscription: call('subscription', 'getByKey'),
    renew: call('subscription', 'renew'),
    cancel: call('subscription', 'cancel'),
    addCard: call('payment', 'create'),
    removeCard: call('payment', 'del'),
  };
}

const failure = (call) => call.then(() => 'it succeeded', (error) => ({ status: error.statusCode, body: error.body }));

(async () => {
  const client = promising(zuora.create({ user, password, url }));
  const seen = {};

  const products = [];
  for (const page of [1, 2, 3]) products.push((await client.products({ pageSize: 25, page })).products.length);
  seen.pages = products;

  const accountNumber = `NODE-${Date.now()}`;
  const contact = { firstName: 'Ada', lastName: 'Gate', country: 'United States', state: 'California' };
  const account = { accountNumber, name: 'Æther & Söhne', currency: 'USD', paymentTerm: 'Net 30', billToContact: contact };
  seen.created = (await client.createAccount(account)).success;
  seen.name = (await client.account(accountNumber)).basicInfo.name;
  seen.updated = (await client.updateAccount(accountNumber, { name: 'Renamed' })).success;
  seen.renamed = (await client.summary(accountNumber)).basicInfo.name;

  // Its check of a new subscription refuses every one, before anything is sent; those that are there can be changed.
  const subscription = 'A-S00000001';
  seen.status = (await client.subscription(subscription)).status;
  seen.renewed = (await client.renew(subscription, { runBilling: false })).success;
  seen.cancelled = (await client.cancel(subscription, { cancellationPolicy: 'EndOfCurrentTerm', invoiceCollect: false })).success;
  seen.afterwards = (await client.subscription(subscription)).status;

  const year = String(new Date().getFullYear() + 1);
  const card = await client.addCard({
    accountKey: accountNumber, creditCardType: 'Visa', creditCardNumber: '4111111111111111', expirationMonth: '12',
    expirationYear: year, securityCode: '123', cardHolderInfo: { ...contact, cardHolderName: 'Ada Gate', city: 'SF', zipCode: '94107' },
  });
  seen.removed = (await client.removeCard(card.paymentMethodId)).success;

  seen.together = new Set(
    (await Promise.all(Array.from({ length: 60 }, (_, i) => client.account(`A${String(i + 1).padStart(8, '0')}`))))
      .map(({ basicInfo }) => basicInfo.accountNumber),
  ).size;
  seen.refused = await failure(promising(zuora.create({ user, password: 'a wrong secret', url })).account(accountNumber));
  console.log(JSON.stringify(seen));
  process.exit(0);
})().catch((error) => { console.error(error); process.exit(1); });
