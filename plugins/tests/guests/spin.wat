;; Runs forever for negative numbers, else adds one.
(component
  (core module $m
    (func (export "spin") (param i64) (result i64)
      (loop $again (br_if $again (i64.lt_s (local.get 0) (i64.const 0))))
      (i64.add (local.get 0) (i64.const 1))))
  (core instance $i (instantiate $m))
  (func (export "spin") (param "n" s64) (result s64) (canon lift (core func $i "spin"))))
