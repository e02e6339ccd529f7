;; Wants the clock: refused at upload, since nothing is granted.
(component
  (import "wasi:clocks/wall-clock@0.2.0" (instance (export "now" (func (result u64)))))
  (core module $m (func (export "f") (param i64) (result i64) (local.get 0)))
  (core instance $i (instantiate $m))
  (func (export "f") (param "n" s64) (result s64) (canon lift (core func $i "f"))))
