// A sender of pushes on @parse/node-apn, as an app team would write it.
//
//     node apns.mjs apns.json
//
// apns.json is what the fake writes. Prints what became of each push as JSON.
import fs from 'node:fs';
import apn from '@parse/node-apn';

const info = JSON.parse(fs.readFileSync(process.argv[2], 'utf8'));
const [address, port] = info.host.split(':');
const provider = new apn.Provider({
  token: { key: info.key_file, keyId: info.key_id, teamId: info.team_id },
  address,
  port: Number(port),
  ca: fs.readFileSync(info.ca_file),
  production: true,
  requestTimeout: 5000,
});

const token = (name) => Buffer.from(name).toString('hex').padEnd(64, '0');

function note(fields) {
  const n = new apn.Notification();
  n.topic = info.topic;
  n.expiry = Math.floor(Date.now() / 1000) + 900;
  Object.assign(n, fields);
  return n;
}

const results = {};
async function send(name, notification, ...tokens) {
  const r = await provider.send(notification, tokens);
  results[name] = {
    sent: r.sent.length,
    failed: r.failed.map((f) => ({ status: f.status, reason: f.response?.reason, timestamp: f.response?.timestamp, error: f.error?.message })),
  };
}

// One first: until it has seen a provider token, the service allows one stream.
await send('warm', note({ alert: { title: 'Знижка', subtitle: 'Store 7', body: 'Їжа & <b>' }, collapseId: 'c-warm' }), token('warm'));
await send('many', note({ alert: 'Hello' }), ...Array.from({ length: 200 }, (_, i) => token(`many-${i}`)));
await send('first', note({ alert: { title: 'first' }, collapseId: 'same' }), token('collapse'));
await send('second', note({ alert: { title: 'second' }, collapseId: 'same' }), token('collapse'));
await send('background', note({ pushType: 'background', priority: 5, contentAvailable: 1 }), token('background'));
await send('badPriority', note({ pushType: 'background', priority: 10, contentAvailable: 1 }), token('background'));
await send('bad', note({ alert: 'x' }), token('bad'));
await send('gone', note({ alert: 'x' }), token('gone'));
await send('topic', note({ alert: 'x', topic: 'com.other.app' }), token('topic'));
await send('large', note({ alert: 'x'.repeat(5000) }), token('large'));
await send('slow', note({ alert: 'x' }), token('slow'));
await send('busy', note({ alert: 'x' }), token('busy'));
await send('afterGoAway', note({ alert: 'x' }), token('goaway'), token('after'));
provider.shutdown();
process.stdout.write(JSON.stringify(results));
