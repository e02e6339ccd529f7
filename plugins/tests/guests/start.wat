;; Never finishes starting.
(component
  (core module $m
    (func $start (loop $again (br $again)))
    (start $start)
    (func (export "f") (param i64) (result i64) (local.get 0)))
  (core instance $i (instantiate $m))
  (func (export "f") (param "n" s64) (result s64) (canon lift (core func $i "f"))))
