import { setFlagsFromString } from 'node:v8';

/*
 * V8 allocates what often survived a collection in the old generation from then on. What a request makes while it is
 * waited for looks like that, and is garbage soon after: the old generation then holds dead objects (pg's Result, its
 * rows) that keep the whole text of their pages alive until a full collection, which is copied twice before. Without
 * this guess a page costs a sixth less processor time, a write or a cached answer 3 to 12 %. It is read while the
 * program runs, so it may be set here, where no way to start the service can forget it.
 */
setFlagsFromString('--no-allocation-site-pretenuring');
