/**
 * Relations (`c` is pg_class) to maintain: those of the service's schema whose owner its role may act as, without a
 * superuser.
 */
export const OWN_RELATIONS = `c.relnamespace = current_schema()::regnamespace
  AND pg_has_role(c.relowner, 'USAGE')`;
