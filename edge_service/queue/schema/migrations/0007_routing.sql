-- Tables only, from here on: the functions are in ../functions, one a file.
ALTER TABLE attempts ADD COLUMN routing text;         -- what was weighed when its worker was chosen; null: not recorded
