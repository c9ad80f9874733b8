-- An example: write your own, as `rowgate migrate new` begins them.
create table orders (
  id bigint generated always as identity primary key,
  customer_id bigint not null,
  placed_at timestamptz not null default now()
);
