import { type DynamicModule, Module, type Type } from '@nestjs/common';
import { AuditModule } from '../../audit/audit.module';
import { AuthModule } from '../../auth/auth.module';
import { CachingModule } from '../../caching/caching.module';
import {
  DATABASE_OPERATIONS,
  DATABASE_SHAPES,
  type DatabaseOperations,
  type DatabaseShapes,
} from './database-operations';
import { GraphqlController } from './graphql.controller';
import { GraphqlOperations } from './graphql-operations';
import {
  CacheAnswers,
  DatabaseAnswers,
  EventServicesAdapter,
  GraphqlServices,
  LiveAnswers,
  PerformanceAnswers,
} from './graphql-services';
import { GraphqlSocket } from './graphql-socket';
import { SocketOperations } from './socket-operations';

/** The GraphQL door. What it offers of the database is handed to it, as doors know no database. */
@Module({
  imports: [AuditModule, AuthModule, CachingModule],
  controllers: [GraphqlController],
  providers: [
    CacheAnswers,
    DatabaseAnswers,
    EventServicesAdapter,
    GraphqlOperations,
    GraphqlServices,
    GraphqlSocket,
    LiveAnswers,
    PerformanceAnswers,
    SocketOperations,
  ],
})
export class GraphqlModule {
  static with(operations: Type<DatabaseOperations>, shapes: DatabaseShapes): DynamicModule {
    return {
      module: GraphqlModule,
      providers: [
        { provide: DATABASE_OPERATIONS, useClass: operations },
        { provide: DATABASE_SHAPES, useValue: shapes },
      ],
    };
  }
}
