import { Logger } from '@nestjs/common';
import express from 'express';
import request from 'supertest';
import { StaticAssets } from '../../http/static-assets';
import { serveGraphiql } from './graphiql';

describe('GraphiQL whose packages are not installed', () => {
  it('leaves the path to others, and the log says how to get it', async () => {
    const warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation();
    const application = express();
    serveGraphiql(application, new StaticAssets(application), (name) =>
      require.resolve(`no-such-scope/${name}`),
    );
    application.get('/graphql', (_request, reply) => reply.json({ data: null }));
    const response = await request(application).get('/graphql').set('Accept', 'text/html');
    expect([response.status, response.body]).toEqual([200, { data: null }]);
    await request(application).get('/graphiql/page.js').expect(404);
    expect(warn).toHaveBeenCalledWith(expect.stringContaining('npm ci'));
  });
});
