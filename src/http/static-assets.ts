import type { Express } from 'express';
import { extname } from 'node:path';
import { AppError } from '../platform/errors/app-error';
import { sendStatic, StaticContent } from './static-content';

/** Folder of all assets, relative to the root of the service. */
const FOLDER = 'assets';

const MEDIA_TYPES: Readonly<Record<string, string>> = {
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.png': 'image/png',
  '.svg': 'image/svg+xml',
};

/** Every cache may store an asset for a year, the maximum of RFC 2616: other bytes have another name. */
const HEADERS = {
  'Cache-Control': 'public, max-age=31536000, immutable',
  'Surrogate-Key': 'assets',
};

/**
 * Serves the files that pages load, under names with a hash of their bytes: `assets/page.<hash>.js`. A name always stands
 * for the same bytes; the names of another version of the service are 404.
 */
export class StaticAssets {
  private readonly contents = new Map<string, StaticContent>();

  /**
   * Serves all assets, also those that are added later.
   * @param application express in front of other routes.
   */
  constructor(application: Express) {
    application.get(`/${FOLDER}/:name`, (request, response, next) => {
      const content = this.contents.get(request.params.name);
      if (!content) return next(new AppError('NOT_FOUND', 'There is no asset of this name.'));
      sendStatic(request, response, content, HEADERS).catch(next);
    });
  }

  /**
   * Adds a file.
   * @param name such as `page.js`; its ending gives the media type.
   * @returns its path relative to the root of the service.
   * @throws Error for an ending without a media type.
   */
  add(name: string, bytes: Buffer): string {
    const ending = extname(name);
    const type = MEDIA_TYPES[ending];
    if (type === undefined) throw new Error(`No media type is known for ${name}`);
    const content = new StaticContent(bytes, type);
    const hashed = `${name.slice(0, -ending.length)}.${content.hash}${ending}`;
    this.contents.set(hashed, content);
    return `${FOLDER}/${hashed}`;
  }
}
