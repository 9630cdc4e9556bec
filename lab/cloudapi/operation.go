package cloudapi

import (
	"context"
	"strings"
	"time"

	"github.com/yandex-cloud/go-genproto/yandex/cloud/api"
	"github.com/yandex-cloud/go-genproto/yandex/cloud/operation"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// running is an operation: done once its work is, but not before some looks.
type running struct {
	*operation.Operation
	looks int
}

// work is what an operation does after the call that started it.
type work struct {
	ids    map[string]string           // of its metadata, by field
	run    func(context.Context) error // without the lock; nil: nothing
	finish func() proto.Message        // gives what the operation answers; nil: nothing at all
	undo   func()                      // when it fails; nil: nothing
}

// start gives an operation that does w.
func (c *Cloud) start(r *request, w work) (proto.Message, error) {
	option, _ := proto.GetExtension(r.Options(), api.E_Operation).(*api.Operation)
	meta, err := relative(r.method, option.GetMetadata())
	if err != nil {
		return nil, err
	}
	for field, id := range w.ids {
		set(meta.ProtoReflect(), field, protoreflect.ValueOfString(id))
	}
	packed, err := anypb.New(meta)
	if err != nil {
		return nil, err
	}
	now := timestamppb.New(c.config.Now())
	op := &running{Operation: &operation.Operation{Id: c.id("op"), Description: r.short(), CreatedAt: now, ModifiedAt: now, CreatedBy: "ajestandin", Metadata: packed}}
	c.operations[op.Id] = op
	began, _ := proto.Clone(op.Operation).(*operation.Operation)
	if w.run == nil && c.config.Delay == 0 {
		c.end(r, op, w, nil)
		return began, nil
	}
	c.work.Go(func() {
		err := sleep(c.ctx, c.config.Delay)
		if err == nil && w.run != nil && r.fault == nil {
			err = w.run(c.ctx)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.end(r, op, w, err)
	})
	return began, nil
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (c *Cloud) end(r *request, op *running, w work, err error) {
	op.Done, op.ModifiedAt = true, timestamppb.New(c.config.Now())
	if err == nil && r.fault != nil && r.fault.Late {
		err = r.fault.error()
	}
	var answer proto.Message = &emptypb.Empty{}
	if err == nil && w.finish != nil {
		if given := w.finish(); given != nil {
			answer = given
		}
	}
	packed, e := anypb.New(answer)
	if err == nil {
		err = e
	}
	if err != nil {
		if w.undo != nil {
			w.undo()
		}
		if _, ok := status.FromError(err); !ok {
			err = status.Error(codes.Internal, err.Error())
		}
		op.Result = &operation.Operation_Error{Error: status.Convert(err).Proto()}
		return
	}
	op.Result = &operation.Operation_Response{Response: packed}
}

// relative is a new message of a name as methods' options have it: of the
// method's package, or of one beside.
func relative(m method, name string) (proto.Message, error) {
	for pkg := m.ParentFile().Package(); ; pkg = pkg.Parent() {
		if found, err := message(protoreflect.FullName(strings.TrimPrefix(string(pkg)+"."+name, "."))); err == nil {
			return found, nil
		}
		if pkg == "" {
			return nil, status.Errorf(codes.Internal, "%s: unknown metadata %q", m.FullName(), name)
		}
	}
}

func getOperation(c *Cloud, _ *request, in *operation.GetOperationRequest) (proto.Message, error) {
	op := c.operations[in.OperationId]
	if op == nil {
		return nil, status.Errorf(codes.NotFound, "Operation %s not found", in.OperationId)
	}
	if op.looks++; op.looks < c.config.Looks {
		return &operation.Operation{Id: op.Id, Description: op.Description, CreatedAt: op.CreatedAt, CreatedBy: op.CreatedBy, ModifiedAt: op.CreatedAt, Metadata: op.Metadata}, nil
	}
	return proto.Clone(op.Operation), nil
}
