/**
 * The relations (`c` is pg_class) to maintain: those of the service's schema whose owner its role may act as. No
 * superuser is needed for any of it.
 */
export const OWN_RELATIONS = `c.relnamespace = current_schema()::regnamespace
  AND pg_has_role(c.relowner, 'USAGE')`;
