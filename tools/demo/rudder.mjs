// The unmodified @rudderstack/rudder-sdk-node: node rudder.mjs URL KEY COUNT PREFIX
// Prints the message ids it sent as a JSON array.
import RudderAnalytics from '@rudderstack/rudder-sdk-node';

const [url, writeKey, count, prefix] = process.argv.slice(2);
const ids = [];
const id = () => {
  ids.push(`${prefix}-rudder-${ids.length}`);
  return ids.at(-1);
};
const failures = [];
let answered = 0;      // each event's callback comes when its batch was answered
const failed = (error) => {
  answered += 1;
  if (error) failures.push(String(error));
};
const Client = RudderAnalytics.default ?? RudderAnalytics;
const client = new Client(writeKey, {dataPlaneUrl: url, flushAt: 7, flushInterval: 200, logLevel: 'silent'});

const user = {userId: 'user-2'};
client.identify({...user, traits: {email: 'zoë@example.test'}, messageId: id()}, failed);
client.page({...user, name: 'Home', properties: {title: 'Crème brûlée – 東京 🚀'}, messageId: id()}, failed);
client.screen({...user, name: 'Main', messageId: id()}, failed);
client.group({...user, groupId: 'g-1', messageId: id()}, failed);
client.alias({...user, previousId: 'anon-2', messageId: id()}, failed);
while (ids.length < Number(count)) {
  client.track({...user, event: 'Order Completed', messageId: id(),
    properties: {price: 0.1 + 0.2, n: ids.length, nil: null, text: 'x\n\\"\u2029', list: [1, {a: {}}]}}, failed);
}
const deadline = Date.now() + 20000;
while (answered < ids.length && Date.now() < deadline) {
  await new Promise((resolve) => client.flush(resolve));
  await new Promise((resolve) => setTimeout(resolve, 50));
}
if (answered < ids.length) failures.push(`${ids.length - answered} events without an answer`);
if (failures.length) {
  console.error(failures.slice(0, 3).join('\n'));
  process.exit(1);
}
console.log(JSON.stringify(ids));
process.exit(0);
