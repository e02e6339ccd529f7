;; One function SQL can call, and two it cannot: of the world and of an interface.
(component
  (core module $m
    (func (export "add-one") (param i64) (result i64) (i64.add (local.get 0) (i64.const 1)))
    (func (export "of-char") (param i32) (result i32) (local.get 0))
    (func (export "pair") (param i32 i32) (result i32) (local.get 0)))
  (core instance $i (instantiate $m))
  (func (export "add-one") (param "n" s64) (result s64) (canon lift (core func $i "add-one")))
  (func (export "of-char") (param "c" char) (result s32) (canon lift (core func $i "of-char")))
  (func $pair (param "x" (tuple s32 s32)) (result s32) (canon lift (core func $i "pair")))
  (instance $more (export "pair" (func $pair)))
  (export "test:guest/more@1.0.0" (instance $more)))
