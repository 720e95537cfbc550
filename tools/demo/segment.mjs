// The unmodified @segment/analytics-node against a collector: node segment.mjs URL KEY COUNT PREFIX
// Prints the message ids it sent as a JSON array.
import {Analytics} from '@segment/analytics-node';

const [url, writeKey, count, prefix] = process.argv.slice(2);
const ids = [];
const id = () => {
  ids.push(`${prefix}-segment-${ids.length}`);
  return ids.at(-1);
};
const failures = [];
const analytics = new Analytics({writeKey, host: url, maxEventsInBatch: 7, flushInterval: 200});
analytics.on('error', (error) => failures.push(String(error.reason ?? error)));

const user = {userId: 'user-1'};
analytics.identify({...user, traits: {email: 'zoë@example.test', plan: 'pro'}, messageId: id()});
analytics.page({...user, name: 'Home', properties: {path: '/', title: 'Crème brûlée – 東京 🚀'}, messageId: id()});
analytics.screen({...user, name: 'Main', messageId: id()});
analytics.group({...user, groupId: 'g-1', traits: {name: 'ACME'}, messageId: id()});
analytics.alias({...user, previousId: 'anon-1', messageId: id()});
while (ids.length < Number(count)) {
  analytics.track({...user, event: 'Order Completed', messageId: id(),
    properties: {price: 19.99, n: ids.length, big: 9007199254740991, nil: null, text: 'a\tb\\"\u2028 \u0000', list: [1, {a: []}]},
    context: {campaign: {campaign_id: 'spring', tracking_id: 'T1'}}});
}
await analytics.closeAndFlush({timeout: 20000});
if (failures.length) {
  console.error(failures.slice(0, 3).join('\n'));
  process.exit(1);
}
console.log(JSON.stringify(ids));
