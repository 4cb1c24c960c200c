// Peer: an echo server in Node.js.
//
// Run:  node node_echo.js --port 7000   then connect anything to 127.0.0.1:7000
// A peer that does not read is not read from either.
'use strict';
const net = require('net');

const place = process.argv.indexOf('--port');
const port = place < 0 ? 0 : Number(process.argv[place + 1]);

const server = net.createServer({ noDelay: true }, (peer) => {
  peer.on('data', (bytes) => {
    if (!peer.write(bytes)) peer.pause();
  });
  peer.on('drain', () => peer.resume());
  peer.on('error', () => peer.destroy());
});

for (const name of ['SIGTERM', 'SIGINT']) process.on(name, () => process.exit(0));
server.listen({ host: '127.0.0.1', port, backlog: 4096 }, () => {
  process.stdout.write(`listening 127.0.0.1:${server.address().port}\n`);
});
