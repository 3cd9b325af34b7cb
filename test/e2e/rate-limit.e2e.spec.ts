import { expectProblem } from '../support/problem';
import { describeWithRedis, startRedisServer, type RedisServer } from '../support/redis-server';
import { EVENTS, eventWith, TestService, tokenOf } from '../support/test-service';
