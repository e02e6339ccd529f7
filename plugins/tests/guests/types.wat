;; Only functions of types SQL does not have: refused at upload, each with its reason.
(component
  (core module $m
    (memory (export "memory") 1)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "one") (param i32) (result i32) unreachable)
    (func (export "two") (param i32 i32) (result i32) unreachable)
    (func (export "nothing") (param i32)))
  (core instance $i (instantiate $m))
  (func (export "sum-list") (param "xs" (list s32)) (result s32)
    (canon lift (core func $i "two") (memory $i "memory") (realloc (func $i "realloc"))))
  (func (export "of-char") (param "c" char) (result s32) (canon lift (core func $i "one")))
  (func (export "pair") (param "x" (tuple s32 s32)) (result s32) (canon lift (core func $i "two")))
  (func (export "no-result") (param "x" s32) (canon lift (core func $i "nothing")))
  (func (export "bare-result") (param "x" s32) (result (result s32 (error s32)))
    (canon lift (core func $i "one") (memory $i "memory"))))
