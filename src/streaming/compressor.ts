import {
  type BrotliCompress,
  constants,
  createBrotliCompress,
  createGzip,
  type Gzip,
} from 'node:zlib';

/** The content codings of an export. */
export type ExportCoding = 'gzip' | 'br' | 'identity';

const GZIP_LEVEL = 1;
const BROTLI_QUALITY = 1;
const OUTPUT_BYTES = 64 * 1024;

/** A stream that compresses in this coding; undefined for `identity`. */
export function createCompressor(coding: ExportCoding): Gzip | BrotliCompress | undefined {
  if (coding === 'gzip') return createGzip({ level: GZIP_LEVEL, chunkSize: OUTPUT_BYTES });
  if (coding === 'identity') return undefined;
  return createBrotliCompress({
    chunkSize: OUTPUT_BYTES,
    params: {
      [constants.BROTLI_PARAM_QUALITY]: BROTLI_QUALITY,
      [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
    },
  });
}
