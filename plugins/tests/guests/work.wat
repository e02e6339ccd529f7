;; Counts down from n, so that a call takes time; returns n.
(component
  (core module $m
    (func (export "work") (param i64) (result i64)
      (local $left i64)
      (local.set $left (local.get 0))
      (block $done
        (loop $again
          (br_if $done (i64.le_s (local.get $left) (i64.const 0)))
          (local.set $left (i64.sub (local.get $left) (i64.const 1)))
          (br $again)))
      (local.get 0)))
  (core instance $i (instantiate $m))
  (func (export "work") (param "n" s64) (result s64) (canon lift (core func $i "work"))))
