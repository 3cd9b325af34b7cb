import express, { type NextFunction, type Request, type Response } from 'express';
import request from 'supertest';
import type { AppError } from '../platform/errors/app-error';
import { StaticAssets } from './static-assets';

describe('StaticAssets', () => {
  const application = express().disable('etag');
  const assets = new StaticAssets(application);
  application.use((error: AppError, _request: Request, response: Response, _next: NextFunction) => {
    response.status(error.status).json({ code: error.code });
  });

  it('names an asset by its bytes', () => {
    const first = assets.add('page.js', Buffer.from('let a;'));
    expect(first).toMatch(/^assets\/page\.[0-9a-f]{32}\.js$/);
    expect(assets.add('page.js', Buffer.from('let a;'))).toBe(first);
    expect(assets.add('page.js', Buffer.from('let b;'))).not.toBe(first);
    expect(assets.add('page.min.css', Buffer.from('a {}'))).toMatch(
      /^assets\/page\.min\.\w+\.css$/,
    );
  });

  it('serves it for a year to every cache', async () => {
    const path = assets.add('a.css', Buffer.from('a { color: red; }'));
    const { status, text, headers } = await request(application).get(`/${path}`);
    expect([status, text]).toEqual([200, 'a { color: red; }']);
    expect(headers).toMatchObject({
      'cache-control': 'public, max-age=31536000, immutable',
      'content-type': 'text/css; charset=utf-8',
      'surrogate-key': 'assets',
    });
  });

  it.each([
    'a.css',
    'a.00000000000000000000000000000000.css',
    '..%2fpackage.json',
    '__proto__',
    'constructor',
  ])('has nothing under the name %s', async (name) => {
    assets.add('a.css', Buffer.from('a { color: red; }'));
    const { status, headers, body } = await request(application).get(`/assets/${name}`);
    expect([status, body]).toEqual([404, { code: 'NOT_FOUND' }]);
    expect(headers).not.toHaveProperty('surrogate-key');
    expect(headers['cache-control'] ?? '').not.toContain('max-age');
  });

  it('refuses a file of an unknown type', () => {
    expect(() => assets.add('a.wasm', Buffer.from(''))).toThrow('a.wasm');
  });
});
