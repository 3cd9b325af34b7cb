/**
 * Which relations (`c` is pg_class) are ours to look after: those of the schema that the service works in, as far as
 * its role may do with them what their owner may. No superuser is needed for any of it.
 */
export const OWN_RELATIONS = `c.relnamespace = current_schema()::regnamespace
  AND pg_has_role(c.relowner, 'USAGE')`;
