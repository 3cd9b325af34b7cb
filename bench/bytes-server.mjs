// References for cached responses: the same bytes with the same body headers, out of memory, by node:http and by express.
// They are fetched once from BYTES_URL with BYTES_TOKEN. No token, no request id, no ETag, no lookup.
import { createServer } from 'node:http';
import express from 'express';

const response = await fetch(process.env.BYTES_URL, {
  headers: { authorization: `Bearer ${process.env.BYTES_TOKEN}` },
});
const body = Buffer.from(await response.arrayBuffer());
const headers = {
  'Content-Type': 'application/json; charset=utf-8',
  'Content-Length': body.length,
};
const application = express();
application.disable('x-powered-by');
application.disable('etag');
application.get('/', (_request, response) => {
  response.set(headers);
  response.end(body);
});
const bare = (_request, response) => {
  response.writeHead(200, headers);
  response.end(body);
};
createServer(process.env.BYTES_BY === 'express' ? application : bare).listen(
  Number(process.env.PORT),
  '127.0.0.1',
  () => console.log('ready'),
);
