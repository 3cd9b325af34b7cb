import type { Dto } from './derived-types';

/** What the door offers of the database, without knowing what it is. */
export interface DatabaseOperations {
  report(): Promise<object>;
  health(): Promise<object>;
  optimize(): Promise<object>;
}

/** The classes that describe its answers. */
export interface DatabaseShapes {
  report: Dto;
  health: Dto;
  optimization: Dto;
}

export const DATABASE_OPERATIONS = Symbol('database operations');
export const DATABASE_SHAPES = Symbol('database shapes');
