;; divide: traps for zero. descend: overflows the stack for large numbers. give-up: always traps.
(component
  (core module $m
    (func $divide (export "divide") (param i64 i64) (result i64) (i64.div_s (local.get 0) (local.get 1)))
    (func $descend (export "descend") (param i64) (result i64)
      (if (result i64) (i64.le_s (local.get 0) (i64.const 0))
        (then (i64.const 0))
        (else (i64.add (i64.const 1) (call $descend (i64.sub (local.get 0) (i64.const 1)))))))
    (func $give-up (export "give-up") (param i64) (result i64) unreachable))
  (core instance $i (instantiate $m))
  (func $divide (export "divide") (param "a" s64) (param "b" s64) (result s64) (canon lift (core func $i "divide")))
  (func (export "descend") (param "n" s64) (result s64) (canon lift (core func $i "descend")))
  (func $give-up (export "give-up") (param "n" s64) (result s64) (canon lift (core func $i "give-up"))))
