-- Returns the host of a URL, without its port.
CREATE OR REPLACE FUNCTION host_of(_url text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT lower(substring(_url from '//(\[[^]]*\]|[^/?:]+)'))
$$;
