/** Relations (`c` is pg_class) of the service's schema whose owner its role may act as: no superuser is needed. */
export const OWN_RELATIONS = `c.relnamespace = current_schema()::regnamespace
  AND pg_has_role(c.relowner, 'USAGE')`;
